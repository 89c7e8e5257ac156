"""Rules of training and pooling as functions of numbers: each one once, for every device."""
