"""One function per system call, under the call's own name; no policy here, failures are OSError."""
