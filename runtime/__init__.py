"""Containers and images on this machine: namespaces, cgroups, overlayfs, seccomp, OCI."""
