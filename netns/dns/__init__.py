"""Names inside networks: message (codec) and zone (who is called what) are pure; server and upstream act."""
