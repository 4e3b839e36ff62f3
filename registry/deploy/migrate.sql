-- The migration of this release: tables, columns and the keys they cannot do without. No CREATE INDEX in here: it would
-- lock the table for as long as it takes, and leave the deployment to be repeated when it fails.

CREATE TABLE IF NOT EXISTS organisations (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS leads (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES organisations (id),
  owner_id        bigint,
  name            text NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  next_call       date,
  closed_at       timestamptz
);

CREATE TABLE IF NOT EXISTS events (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  lead_id  bigint NOT NULL REFERENCES leads (id),
  kind     text NOT NULL,
  at       timestamptz NOT NULL DEFAULT now()
);
