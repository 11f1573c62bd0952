"""A page that counts its visits and lists notes, all of it kept in PostgreSQL."""

import os

import psycopg
from flask import Flask, redirect, render_template_string, request

app = Flask(__name__)

PAGE = """<!doctype html>
<title>web and postgres</title>
<h1>Hello from the web container</h1>
<p>This is visit number {{ visits }}, counted by {{ server }}.</p>
<h2>Notes</h2>
<ul>{% for note in notes %}
  <li>{{ note }}</li>{% endfor %}
</ul>
<form method="post" action="/notes"><input name="text" required> <button>Add a note</button></form>
"""


def connect() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3)


@app.get("/")
def page() -> str:
    with connect() as db:
        db.execute("INSERT INTO visits (visitor) VALUES (%s)", (request.remote_addr,))
        visits, version = db.execute(
            "SELECT count(*), current_setting('server_version') FROM visits"
        ).fetchone()
        notes = [text for (text,) in db.execute("SELECT text FROM notes ORDER BY id")]
    return render_template_string(PAGE, visits=visits, server=f"PostgreSQL {version}", notes=notes)


@app.post("/notes")
def add_note():
    with connect() as db:
        db.execute("INSERT INTO notes (text) VALUES (%s)", (request.form["text"],))
    return redirect("/", code=303)


@app.get("/healthz")
def healthz() -> tuple[str, int]:
    try:
        with connect() as db:
            db.execute("SELECT 1")
    except psycopg.Error as error:
        return f"database: {error}\n", 503
    return "ok\n", 200
