-- The logins of Doctor's Flow. Run once, as a superuser (or a managed
-- service's admin), connected to the database that is to hold it:
--
--   psql -v owner_password=… -v api_password=… -v worker_password=… -f roles.sql doctorsflow
--
-- Without the variables the passwords come from the environment, which is how
-- compose.yaml does it.
--
-- doctorsflow_owner  owns the tables and is used by `doctorsflow migrate` alone
-- app_api            one tenant per transaction: ingest and the API
-- app_worker         planner, release, dispatcher, recorder
--
-- serve refuses a login that is a superuser, has BYPASSRLS or owns the tables.

\set ON_ERROR_STOP on
\if :{?owner_password} \else
  \getenv owner_password POSTGRES_OWNER_PASSWORD
\endif
\if :{?api_password} \else
  \getenv api_password POSTGRES_API_PASSWORD
\endif
\if :{?worker_password} \else
  \getenv worker_password POSTGRES_WORKER_PASSWORD
\endif

BEGIN;
CREATE ROLE doctorsflow_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'owner_password';
CREATE ROLE app_api           LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'api_password';
CREATE ROLE app_worker        LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'worker_password';

-- From PostgreSQL 15 on the owner of the database may create in its schema
-- public, and nobody else.
GRANT doctorsflow_owner TO CURRENT_USER;
ALTER DATABASE :"DBNAME" OWNER TO doctorsflow_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO app_api, app_worker;
REVOKE doctorsflow_owner FROM CURRENT_USER;
COMMIT;
