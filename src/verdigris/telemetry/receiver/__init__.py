"""OTLP in: exports of spans over gRPC and HTTP, acknowledged when they are durable.

`intake` decodes, refuses and commits in groups and knows no transport; `otlp_grpc` and `otlp_http` are the two listeners,
`listeners` runs both; `answers` is what senders are told; `bounds` how much is taken.
"""
