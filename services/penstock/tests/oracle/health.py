"""Asks for the health of a server by TLS: its address, the file of the authority to trust, and the host that its certificate names."""

import sys

import grpc

address, authority, host = sys.argv[1:]
credentials = grpc.ssl_channel_credentials(open(authority, "rb").read())
with grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", host)]) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda _: b"", lambda answer: answer)
    print({b"\x08\x01": "SERVING"}.get(check(None, timeout=60), "not serving"))
