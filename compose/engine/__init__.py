"""The effects: look at the machine, make images, run a plan's steps, keep containers alive."""
