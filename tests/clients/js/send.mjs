// Sends COUNT spans with the OpenTelemetry JavaScript SDK: node send.mjs PROTOCOL URL COUNT, with PROTOCOL one of grpc, proto, json.
import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { NodeTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const [protocol, url, count] = process.argv.slice(2);
const exporters = { grpc: "@opentelemetry/exporter-trace-otlp-grpc", proto: "@opentelemetry/exporter-trace-otlp-proto", json: "@opentelemetry/exporter-trace-otlp-http" };
const { OTLPTraceExporter } = require(exporters[protocol]);

const exporter = new OTLPTraceExporter({ url, compression: protocol === "proto" ? "gzip" : "none", timeoutMillis: 10_000 });
const results = [];
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) => send(spans, (result) => { results.push(result.error ? String(result.error) : result.code); done(result); });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "js", "service.version": "v2" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
const tracer = provider.getTracer("test");
for (let n = 0; n < Number(count); n += 1) {
  tracer.startSpan(`work ${n}`, { kind: 1, attributes: { "http.route": "/js/{id}", n, list: ["a", "b"] } }).end();
}
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify(results));
