-- The live side of the dictionary's worked example: CUST1 is as declared, ABCD is HIST1 under another name, ORDER1 is a
-- stray and ORDERS1 is missing.

CREATE TABLE customers (id integer, zipcode text, state char(2));
CREATE TABLE history (bipad integer, year integer, issue integer, delivered integer);
CREATE TABLE orders (bipad integer, year integer, issue integer, ordered integer);

CREATE INDEX "CUST1" ON customers (zipcode, state);
CREATE INDEX "ABCD" ON history (bipad, year, issue);
CREATE INDEX "ORDER1" ON orders (year, issue);
