-- Binary-coercible implicit casts.
select c.castsource, c.casttarget from pg_catalog.pg_cast c where c.castmethod = 'b' and c.castcontext = 'i'
