-- The indexes of a deployment, as the statements the team already has. `lunadex apply` builds what is missing, after
-- the migrations and apart from them. CONCURRENTLY and IF NOT EXISTS may stay in the text; they change nothing.

on "public.leads" {
  index {
    sql = [[CREATE INDEX CONCURRENTLY IF NOT EXISTS leads_by_owner
            ON public.leads (organisation_id, owner_id, created_at DESC)]],
    critical = true,
    description = "Start page of every user: own leads, newest first",
  },
  index {
    sql = [[CREATE INDEX CONCURRENTLY IF NOT EXISTS leads_due_calls
            ON public.leads (organisation_id, next_call) WHERE next_call IS NOT NULL AND closed_at IS NULL]],
    critical = false,
    description = "Call list: only what is open and has a date",
  },
}

on "public.events" {
  index {
    sql = [[CREATE INDEX CONCURRENTLY IF NOT EXISTS events_recent
            ON public.events (lead_id, at DESC) INCLUDE (kind)]],
    critical = false,
    description = "History of a lead",
  },
}
