// usageblocks writes the usage history of a generated cluster as TSDB blocks, one for each day, and the cluster itself as cluster.json.
//
// The same flags always give the same samples. It writes with Prometheus' own tsdb package, as reading hundreds of millions of samples
// from a text takes a hundred times as long.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// Settings say how large the cluster is and which time its history covers. Times in seconds.
type Settings struct {
	Containers    int     `json:"containers"`
	Days          int     `json:"days"`
	End           int64   `json:"end"`
	ScrapeSeconds int64   `json:"scrapeSeconds"`
	Churn         float64 `json:"churn"`
	MostReplicas  int     `json:"mostReplicas"`
	Seed          uint64  `json:"seed"`
}

// Begin is when the history begins.
func (s Settings) Begin() int64 { return s.End - int64(s.Days)*daySeconds }

func (s Settings) check() error {
	switch {
	case s.Containers < 1 || s.Days < 1 || s.MostReplicas < 1:
		return fmt.Errorf("containers, days and replicas are at least 1")
	case s.End%daySeconds != 0:
		return fmt.Errorf("end is a midnight (UTC): %d is not", s.End)
	case s.ScrapeSeconds < 1 || hourSeconds%s.ScrapeSeconds != 0:
		return fmt.Errorf("scrape divides an hour: %d seconds do not", s.ScrapeSeconds)
	case s.Churn < 0 || s.Churn > 1:
		return fmt.Errorf("churn is a share between 0 and 1: %g is not", s.Churn)
	}
	return nil
}

func main() {
	var settings Settings
	flag.IntVar(&settings.Containers, "containers", 1000, "containers that run at any time")
	flag.IntVar(&settings.Days, "days", 14, "days of history")
	flag.Int64Var(&settings.End, "end", 0, "end of the history in unix seconds, a midnight (UTC)")
	flag.Int64Var(&settings.ScrapeSeconds, "scrape", 60, "seconds between two samples")
	flag.Float64Var(&settings.Churn, "churn", 0.2, "share of the pods that is replaced each day")
	flag.IntVar(&settings.MostReplicas, "replicas", 3, "most replicas of a workload")
	flag.Uint64Var(&settings.Seed, "seed", 1, "another number gives another cluster")
	workers := flag.Int("workers", 2, "days written at a time")
	out := flag.String("out", "", "an existing folder for blocks and cluster.json")
	flag.Parse()
	if err := run(settings, *out, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "usageblocks:", err)
		os.Exit(1)
	}
}

func run(settings Settings, out string, workers int) error {
	if err := settings.check(); err != nil {
		return err
	}
	cluster := newCluster(settings)
	samples, err := writeDays(cluster, out, workers)
	if err != nil {
		return err
	}
	text, err := json.Marshal(struct {
		Settings
		Samples   uint64      `json:"samples"`
		Workloads []*Workload `json:"workloads"`
	}{settings, samples, cluster.Workloads})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "cluster.json"), text, 0o644)
}
