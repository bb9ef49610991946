"""Lists a server's services and methods as a reflection client sees them, and compares them with the stubs.

    python reflection.py HOST:PORT

Python's reflection client speaks v1alpha. Exits with an error where the server and the committed stubs of
clients/python describe any message or method differently.
"""

import sys

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from pref.v1 import candidates_pb2, common_pb2, personalization_pb2, training_pb2


def described(descriptor: FileDescriptor) -> FileDescriptorProto:
    """A file as it is described, without what one compiler adds and another leaves out."""
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    file.ClearField("source_code_info")
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return file


with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    for name in sorted(database.get_services()):
        for method in pool.FindServiceByName(name).methods:
            print(f"{name}/{method.name}")

    for module in (candidates_pb2, common_pb2, personalization_pb2, training_pb2):
        stub, served = described(module.DESCRIPTOR), described(pool.FindFileByName(module.DESCRIPTOR.name))
        if stub != served:
            sys.exit(f"{stub.name}: the stubs are not of this server; run `make stubs`")
