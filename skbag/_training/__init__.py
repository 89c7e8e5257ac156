"""The loop of training: epochs, validation, stopping."""
