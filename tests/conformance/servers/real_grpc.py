"""A gRPC server of somebody else's: python's grpcio. Its one service, test.Real, has what tests ask of the
edge's client; messages are bytes as they are. Prints its port, then a line for what it saw.

| method | |
| --- | --- |
| Unary | the message, with metadata before and after it |
| Fail | NOT_FOUND, with a text that has to be escaped |
| Details | FAILED_PRECONDITION, with binary trailers |
| Slow | nothing, until it is cancelled; says so |
| Size | as many bytes as the message says |
| Packed | the message, gzip-compressed as grpcio does of itself |
| Chat | `re:` and the message for each, their number in trailers |
| Count | so many messages as the message says |
| Sum | a stream of messages; how many bytes they had |
| Die | one message, and then the process is gone |
| Wait | the message after 50 ms |
"""
import os
import sys
import threading
import time
from concurrent import futures

import grpc

SAY = threading.Lock()


def say(line):
    with SAY:
        print(line, flush=True)


def metadata(context):
    given = dict(context.invocation_metadata())
    return " ".join(f"{name}={given[name]}" for name in ("x-ask", "user-agent", "x-raw-bin") if name in given)


def unary(message, context):
    left = context.time_remaining()
    deadline = "none" if left is None else "some" if left < 10 else "long"
    say(f"Unary {metadata(context)} deadline={deadline} {message.decode()}")
    context.send_initial_metadata((("x-first", "one"), ("x-first-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-last", "two"),))
    return message


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "50% of caf\u00e9\nis gone")


def details(message, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so")


def slow(message, context):
    over = threading.Event()
    context.add_callback(over.set)
    say("Slow began")
    over.wait(60)
    say(f"Slow over, active={context.is_active()}")
    return b""


def size(message, context):
    return b"x" * int(message)


def packed(message, context):
    context.set_compression(grpc.Compression.Gzip)
    return message * 100


def chat(messages, context):
    context.send_initial_metadata((("x-first", "one"),))
    count = 0
    for message in messages:
        count += 1
        say(f"Chat got {message.decode()}")
        yield b"re:" + message
    context.set_trailing_metadata((("x-count", str(count)),))
    say("Chat ended")


def count(message, context):
    for number in range(int(message)):
        yield b"%d" % number


def total(messages, context):
    return b"%d" % sum(len(message) for message in messages)


def die(message, context):
    yield b"last words"
    time.sleep(0.2)
    os._exit(9)


def wait(message, context):
    time.sleep(0.05)
    return message


class Real(grpc.GenericRpcHandler):
    HANDLERS = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Details": grpc.unary_unary_rpc_method_handler(details),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Size": grpc.unary_unary_rpc_method_handler(size),
        "Packed": grpc.unary_unary_rpc_method_handler(packed),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Die": grpc.unary_stream_rpc_method_handler(die),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
    }

    def service(self, details):
        service, _, method = details.method.lstrip("/").partition("/")
        return self.HANDLERS.get(method) if service == "test.Real" else None


def main():
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
    server.add_generic_rpc_handlers((Real(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(f"port {port}")
    # Ends with whoever started it.
    sys.stdin.read()
    os._exit(0)


main()
