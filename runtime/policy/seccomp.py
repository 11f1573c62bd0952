"""placeholder"""


def program(profile: str, capabilities: object, machine: str) -> bytes:
    return b""
