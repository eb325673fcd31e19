"""A gRPC server of somebody else's: python's grpcio. Its service is test.Echo, as that of tests/harness/grpc.rs,
and its methods have the names of those there; messages are bytes as they are. Prints its port, then a line for
what it saw, and ends with its standard input.

| method | |
| --- | --- |
| Echo | the message, with metadata before and after it |
| Wait | the message, after 50 ms |
| Fail | NOT_FOUND, with a text that has to be escaped |
| Only | PERMISSION_DENIED before anything else was sent |
| Never | nothing, until it is cancelled |
| Compressed | the message a hundred times, which grpcio compresses as it is told to, asked for or not |
| Twice, None | two messages, and none: by a server that takes it for a stream |
| Chat | `re:` and the message for each, their number in trailers |
| Sum | the number of bytes of a stream of messages |
| Flood | messages without end |
| Break | one message; then, when another has come, the process is gone |
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
    return " ".join(f"{name}={given[name]}" for name in ("x-ask", "user-agent") if name in given)


def echo(message, context):
    left = context.time_remaining()
    deadline = "none" if left is None or left > 3600 else "some"
    say(f"Echo {metadata(context)} deadline={deadline} {len(message)}")
    context.send_initial_metadata((("x-first", "one"), ("x-first-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-last", "two"),))
    return message


def wait(message, context):
    time.sleep(0.05)
    return message


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "50%\tof caf\u00e9 is gone")


def only(message, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


def never(message, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    say("Never began")
    gone.wait(60)
    say("Never over")
    return b""


def compressed(message, context):
    context.set_compression(grpc.Compression.Gzip)
    return message * 100


def twice(message, context):
    yield b"a"
    yield b"b"


def none(message, context):
    return iter(())


def chat(messages, context):
    context.send_initial_metadata((("x-first", "one"),))
    count = 0
    try:
        for message in messages:
            count += 1
            say(f"Chat got {message.decode()}")
            yield b"re:" + message
    except grpc.RpcError:
        # What its iterator raises when the other side has gone.
        say("Chat reset")
        return
    except GeneratorExit:
        say("Chat reset")
        raise
    context.set_trailing_metadata((("x-count", str(count)),))
    say("Chat ended")


def total(messages, context):
    return b"%d" % sum(len(message) for message in messages)


def flood(message, context):
    # Once it is over, nothing asks for more.
    context.add_callback(lambda: say("Flood over"))
    while True:
        yield b"f" * 1000


def broken(messages, context):
    context.send_initial_metadata((("x-first", "one"),))
    next(messages)
    yield b"half"
    next(messages)
    os._exit(9)


class Echo(grpc.GenericRpcHandler):
    UNARY = {"Echo": echo, "Wait": wait, "Fail": fail, "Only": only, "Never": never, "Compressed": compressed}
    METHODS = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in UNARY.items()} | {
        "Twice": grpc.unary_stream_rpc_method_handler(twice),
        "None": grpc.unary_stream_rpc_method_handler(none),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Flood": grpc.unary_stream_rpc_method_handler(flood),
        "Break": grpc.stream_stream_rpc_method_handler(broken),
    }

    def service(self, details):
        service, _, method = details.method.lstrip("/").partition("/")
        return self.METHODS.get(method) if service == "test.Echo" else None


def main():
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=options)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(f"port {port}")
    # Ends with whoever started it.
    sys.stdin.read()
    os._exit(0)


main()
