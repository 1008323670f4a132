-- +goose Up

-- Plans are as written: from the statistics they only need how many rows there
-- are, and a tenth of the sample says so in a tenth of the time. Autovacuum
-- comes by later with the usual sample, for the reports.
ALTER FUNCTION analyze_ledger() SET default_statistics_target = 10;
