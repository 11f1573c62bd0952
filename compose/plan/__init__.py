"""Compare what the file asks for with what the machine has; list the steps between. Pure."""
