CREATE TABLE shipments (bipad integer NOT NULL, year integer NOT NULL, issue integer NOT NULL, quantity integer);
CREATE TABLE example (socialsec text NOT NULL, name text);
