"""What needs no clock: sizes, operators, memory, logits and accuracy of both sides."""
