CREATE TABLE visits (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    visitor text NOT NULL
);

CREATE TABLE notes (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL
);

INSERT INTO notes (text) VALUES ('This row was written by initdb/10-visits.sql');
