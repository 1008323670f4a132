package local

import "maps"

// port only names the socket's file; there is no TCP listener.
const port = "5432"

// settings are the server's parameters. They are given on its command line, so
// that every start has exactly these, whatever postgresql.conf says.
func settings(id, socketDir string, durable bool, extra map[string]string) map[string]string {
	s := map[string]string{
		"listen_addresses":                "",
		"unix_socket_directories":         socketDir,
		"port":                            port,
		"cluster_name":                    id, // begins every process's title; see serverProcesses
		"max_connections":                 "100",
		"shared_buffers":                  "40MB",
		"maintenance_work_mem":            "16MB",
		"max_wal_size":                    "2GB",
		"jit":                             "off",
		"max_logical_replication_workers": "0", // a process less
		"password_encryption":             "scram-sha-256",
		"timezone":                        "UTC",
		"log_timezone":                    "UTC",

		// Patient data must not reach the server's log. Errors go to the client,
		// which knows what to hide; their messages, details and statements quote
		// values, and so does the report of a crashed backend. What concerns the
		// server itself is logged as LOG, FATAL or PANIC, which rank above ERROR.
		"log_destination":                   "stderr",
		"logging_collector":                 "off",
		"log_line_prefix":                   "%m [%p] ",
		"log_min_messages":                  "log",
		"log_error_verbosity":               "terse",
		"log_min_error_statement":           "panic",
		"log_statement":                     "none",
		"log_min_duration_statement":        "-1",
		"log_parameter_max_length":          "0",
		"log_parameter_max_length_on_error": "0",
	}
	if !durable {
		maps.Copy(s, map[string]string{
			"fsync":              "off",
			"synchronous_commit": "off",
			"full_page_writes":   "off",
			"shared_buffers":     "32MB",
		})
	}
	maps.Copy(s, extra)
	return s
}
