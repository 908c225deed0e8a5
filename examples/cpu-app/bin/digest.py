"""The CPU-bound work: about 10 ms of it on a processor of 2020."""

import hashlib

ROUNDS = 25000


def digest(job):
    """Hash job ROUNDS times over; the answer is hexadecimal."""
    value = bytes(job)
    for _ in range(ROUNDS):
        value = hashlib.sha256(value).digest()
    return value.hex().encode()
