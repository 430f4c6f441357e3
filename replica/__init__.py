"""Tables that follow a stream, in whichever database."""
