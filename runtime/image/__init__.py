"""Images: named, stored, pulled, loaded, saved; the Dockerfile language. ``runtime.build`` builds them."""
