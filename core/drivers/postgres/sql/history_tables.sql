-- The tables of the history, on first use (docs/history.md).
CREATE SCHEMA IF NOT EXISTS lunadex;
COMMENT ON SCHEMA lunadex IS 'What Lunadex keeps of its runs and backfills';
CREATE TABLE lunadex.run (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  started       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  ended         timestamptz,
  outcome       text,
  error         text,
  existing      integer NOT NULL,
  planned       integer NOT NULL,
  role          name NOT NULL DEFAULT session_user,
  client        inet DEFAULT pg_catalog.inet_client_addr(),
  version       text NOT NULL,
  pid           integer NOT NULL,
  backend_start timestamptz
);
COMMENT ON COLUMN lunadex.run.ended IS 'null: it goes on as long as the session that holds its lock is there (pid), or it was killed';
COMMENT ON COLUMN lunadex.run.existing IS 'declarations that needed no change';
CREATE TABLE lunadex.change (
  run        bigint NOT NULL REFERENCES lunadex.run ON DELETE CASCADE,
  number     integer NOT NULL,
  action     text NOT NULL,
  relation   text NOT NULL,
  name       text NOT NULL,
  definition text NOT NULL,
  critical   boolean NOT NULL,
  started    timestamptz NOT NULL,
  seconds    double precision,
  attempts   integer,
  outcome    text,
  error      text,
  PRIMARY KEY (run, number)
);
COMMENT ON COLUMN lunadex.change.outcome IS 'null: it goes on, or ended with its run';
