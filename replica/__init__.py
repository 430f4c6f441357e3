"""Tables that follow a stream: make and alter them, apply a batch, read frames back, compare."""
