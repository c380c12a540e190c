"""The case studies as running systems, instrumented with the real OpenTelemetry SDK (extra: `verdigris[demo]`)."""
