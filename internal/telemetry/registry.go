package telemetry

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry with the Go runtime's and the process's own
// metrics, and doctorsflow_build_info.
func NewRegistry() *prometheus.Registry {
	version, revision := build()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "doctorsflow_build_info", Help: "1; its labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go_version": runtime.Version()},
	})
	info.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// build is what the linker knows; "unknown" where it was not told.
func build() (version, revision string) {
	version, revision = "unknown", "unknown"
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision
	}
	if b.Main.Version != "" {
		version = b.Main.Version
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return version, revision
}
