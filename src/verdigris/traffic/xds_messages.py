"""The few messages of Envoy's runtime discovery that the guard speaks, with the fields that it reads or writes.

Field numbers are those of Envoy's v3 API (envoy/service/discovery/v3/discovery.proto, envoy/service/runtime/v3/rtds.proto,
envoy/config/core/v3/base.proto); fields that are not named here stay in a message unread. The package that has them all brings
an old copy of OpenTelemetry's messages, which it puts over the real ones.
"""

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2

RUNTIME_TYPE = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
STREAM_METHOD = ("envoy.service.runtime.v3.RuntimeDiscoveryService", "StreamRuntime")
"""Service and method of the stream on which layers are sent."""

_STRING, _INT32, _MESSAGE = (
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
)
_FILES: dict[str, dict[str, list[tuple[str, int, int, str, bool]]]] = {
    # package: message: (field, number, type, message type, repeated)
    "google.rpc": {"Status": [("code", 1, _INT32, "", False), ("message", 2, _STRING, "", False)]},
    "envoy.config.core.v3": {"Node": [("id", 1, _STRING, "", False)]},
    "envoy.service.discovery.v3": {
        "DiscoveryRequest": [
            ("version_info", 1, _STRING, "", False),
            ("node", 2, _MESSAGE, ".envoy.config.core.v3.Node", False),
            ("resource_names", 3, _STRING, "", True),
            ("type_url", 4, _STRING, "", False),
            ("response_nonce", 5, _STRING, "", False),
            ("error_detail", 6, _MESSAGE, ".google.rpc.Status", False),
        ],
        "DiscoveryResponse": [
            ("version_info", 1, _STRING, "", False),
            ("resources", 2, _MESSAGE, ".google.protobuf.Any", True),
            ("type_url", 4, _STRING, "", False),
            ("nonce", 5, _STRING, "", False),
        ],
        "Resource": [
            ("version", 1, _STRING, "", False),
            ("resource", 2, _MESSAGE, ".google.protobuf.Any", False),
            ("name", 3, _STRING, "", False),
            ("ttl", 6, _MESSAGE, ".google.protobuf.Duration", False),
        ],
    },
    "envoy.service.runtime.v3": {
        "Runtime": [("name", 1, _STRING, "", False), ("layer", 2, _MESSAGE, ".google.protobuf.Struct", False)],
    },
}


def _pool() -> descriptor_pool.DescriptorPool:
    """A pool of its own, so that a program that also loads the whole API is not in the way."""
    pool = descriptor_pool.DescriptorPool()
    known = [any_pb2.DESCRIPTOR, duration_pb2.DESCRIPTOR, struct_pb2.DESCRIPTOR]
    for well_known in known:
        pool.AddSerializedFile(well_known.serialized_pb)
    before = [file.name for file in known]
    for package, messages in _FILES.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"verdigris/{package}.proto", package=package, syntax="proto3", dependency=before)
        for name, fields in messages.items():
            message = file.message_type.add(name=name)
            for field, number, kind, type_name, repeated in fields:
                label = (
                    descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if repeated else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
                )
                message.field.add(name=field, number=number, type=kind, type_name=type_name or None, label=label)
        pool.Add(file)
        before.append(file.name)
    return pool


_POOL = _pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


DiscoveryRequest = _message("envoy.service.discovery.v3.DiscoveryRequest")
DiscoveryResponse = _message("envoy.service.discovery.v3.DiscoveryResponse")
Resource = _message("envoy.service.discovery.v3.Resource")
Runtime = _message("envoy.service.runtime.v3.Runtime")
