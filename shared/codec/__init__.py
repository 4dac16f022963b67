"""The columnar codec: MAVLink frames to a compressed block of columns and back, bit-exact (docs/wire.md)."""

from shared.codec.block import Block, MessageGroup
from shared.codec.decode import decode_block, decode_blocks
from shared.codec.encode import encode_block

__all__ = ["Block", "MessageGroup", "decode_block", "decode_blocks", "encode_block"]
