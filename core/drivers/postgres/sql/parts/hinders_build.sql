       -- Whether lock `l` on a table is in the way of a concurrent build: of its own lock, or of its waits for writers.
       l.mode NOT IN ('AccessShareLock', 'RowShareLock')
