"""The text schema (``caffe.proto``) as message classes of a private descriptor pool.

A private pool never meets the ``caffe.proto`` that other packages (Caffe's own Python bindings) register under the same
names, and a serialized descriptor set, unlike generated code, loads under every release of protobuf.
``caffe.binpb`` is made from ``caffe.proto`` by::

    python -m grpc_tools.protoc -Iprototxt/schema --descriptor_set_out=prototxt/schema/caffe.binpb caffe.proto
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FOLDER = Path(__file__).parent


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet.FromString((FOLDER / "caffe.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def message(name: str) -> Any:
    """The message class ``caffe.<name>``, for instance ``message("NetParameter")``."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


def enum_names(name: str) -> list[str]:
    """The value names of the enum ``caffe.<name>``, for instance ``enum_names("PoolingParameter.PoolMethod")``."""
    return [value.name for value in _pool().FindEnumTypeByName(f"caffe.{name}").values]
