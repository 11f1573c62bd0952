"""The language of Dockerfiles, pure: instructions (parse), words (words), .dockerignore (ignore)."""
