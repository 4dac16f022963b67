"""The contract between aircraft and hub: ids, clock, frames, codec, batch, envelope, receipts, channels, features."""
