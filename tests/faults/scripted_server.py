"""A server of a few lines: it sends what a generator yields, byte for byte, and knows no HTTP."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def scripted_server(script):
    """Answer every connection with the bytes that `script()` yields; yield (address, counts).

    None among them is a pause of 50 ms. `counts` gets the number of bytes of each answer when
    the client has gone.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    ended, counts = threading.Event(), []

    def answer(connection):
        sent = 0
        with connection, contextlib.suppress(OSError):
            while b"\r\n\r\n" not in connection.recv(1 << 16):
                pass
            for piece in script():
                if ended.is_set():
                    break
                if piece is None:
                    ended.wait(0.05)
                else:
                    connection.sendall(piece)
                    sent += len(piece)
            connection.shutdown(socket.SHUT_WR)
        counts.append(sent)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counts
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
