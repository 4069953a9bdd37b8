package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const samplesPerCommit = 20_000

// kube-state-metrics is scraped half as often as the kubelets.
const stateScrapes = 2

// writeDays writes a block for each day, `workers` at a time, and returns how many samples they hold.
func writeDays(cluster *Cluster, out string, workers int) (uint64, error) {
	days := make(chan int, cluster.Days)
	for day := range cluster.Days {
		days <- day
	}
	close(days)
	var samples, done atomic.Uint64
	var failures errorList
	var group sync.WaitGroup
	for range max(1, workers) {
		group.Go(func() {
			for day := range days {
				count, err := writeDay(cluster, out, day)
				failures.add(err)
				fmt.Fprintf(os.Stderr, "day %d of %d written, %d million samples\n", done.Add(1), cluster.Days, samples.Add(count)/1_000_000)
			}
		})
	}
	group.Wait()
	return samples.Load(), failures.joined()
}

type errorList struct {
	lock sync.Mutex
	all  []error
}

func (l *errorList) add(err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.all = append(l.all, err)
}

func (l *errorList) joined() error { return errors.Join(l.all...) }

func writeDay(cluster *Cluster, out string, day int) (samples uint64, err error) {
	// A block writer takes samples that are at most half a block older than the newest: twice the day is the whole day.
	blocks, err := tsdb.NewBlockWriter(promslog.NewNopLogger(), out, 2*daySeconds*1000)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	begin := cluster.Begin() + int64(day)*daySeconds
	writer := &dayWriter{cluster: cluster, blocks: blocks, begin: begin, end: begin + daySeconds, appender: blocks.Appender(context.Background())}
	for _, workload := range cluster.Workloads {
		if err := writer.workload(workload); err != nil {
			return 0, err
		}
	}
	if err := writer.appender.Commit(); err != nil {
		return 0, err
	}
	_, err = blocks.Flush(context.Background())
	return writer.samples, err
}

// dayWriter writes the samples of one day, series after series.
type dayWriter struct {
	cluster    *Cluster
	blocks     *tsdb.BlockWriter
	begin, end int64
	appender   storage.Appender
	pending    int
	samples    uint64
}

func (d *dayWriter) workload(w *Workload) error {
	pods, sets := d.cluster.lives(w)
	for _, set := range sets {
		if err := d.state(set.from, d.cluster.End, "kube_replicaset_owner", "namespace", w.Namespace, "owner_is_controller", "true",
			"owner_kind", w.Kind, "owner_name", w.Name, "replicaset", set.name); err != nil {
			return err
		}
	}
	usages := map[[2]int]*usage{}
	for _, p := range pods {
		if p.from >= d.end || p.to+d.cluster.ScrapeSeconds*stateScrapes < d.begin {
			continue
		}
		if err := d.podState(w, p); err != nil {
			return err
		}
		for number := range w.Containers {
			key := [2]int{p.replica, number}
			if usages[key] == nil {
				usages[key] = d.cluster.usageOf(w, p.replica, number)
			}
			if err := d.container(w, p, number, usages[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dayWriter) podState(w *Workload, p pod) error {
	if err := d.state(p.from, p.to, "kube_pod_owner", "namespace", w.Namespace, "owner_is_controller", "true",
		"owner_kind", p.ownerKind, "owner_name", p.ownerName, "pod", p.name, "uid", p.uid); err != nil {
		return err
	}
	return d.state(p.from, p.to, "kube_pod_status_phase", "namespace", w.Namespace, "phase", "Running", "pod", p.name, "uid", p.uid)
}

// state writes a series of kube-state-metrics, whose value is always 1.
func (d *dayWriter) state(from, to int64, metric string, pairs ...string) error {
	all := append(pairs, "__name__", metric, "instance", "10.0.255.1:8080", "job", "kube-state-metrics")
	return d.series(labels.FromStrings(all...), from, to, stateScrapes*d.cluster.ScrapeSeconds, 0, func(int64) float64 { return 1 })
}

func (d *dayWriter) container(w *Workload, p pod, number int, used *usage) error {
	container := w.Containers[number]
	write := func(metric string, at func(int64) float64, extra ...string) error {
		// Each kubelet is scraped at a moment of its own.
		scrape := d.cluster.ScrapeSeconds
		offset := int64(chance(p.node).below(int(scrape * 1000)))
		return d.series(cadvisorLabels(metric, w, p, container, number, extra...), p.from, p.to, scrape, offset, at)
	}
	before := used.coreSeconds(p.from) - container.cores*float64(p.age)
	if err := write("container_cpu_usage_seconds_total", func(at int64) float64 { return used.coreSeconds(at) - before }, "cpu", "total"); err != nil {
		return err
	}
	if err := write("container_memory_working_set_bytes", func(at int64) float64 { return used.workingSet(at, at-p.from+p.age) }); err != nil {
		return err
	}
	if !container.CPULimited {
		return nil
	}
	periods := func(at int64) float64 { return float64(10 * (at - p.from + p.age)) }
	if err := write("container_cpu_cfs_periods_total", periods); err != nil {
		return err
	}
	throttled := 0.2 * w.chance.at(21, number).share()
	return write("container_cpu_cfs_throttled_periods_total", func(at int64) float64 { return math.Floor(periods(at) * throttled) })
}

func cadvisorLabels(metric string, w *Workload, p pod, container *Container, number int, extra ...string) labels.Labels {
	id := p.chance.at(30, number).hex(64)
	return labels.FromStrings(append(extra,
		"__name__", metric,
		"container", container.Name,
		"endpoint", "https-metrics",
		"id", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"+p.uid+".slice/cri-containerd-"+id+".scope",
		"image", "registry.example/"+w.Name+"/"+container.Name+":1.0",
		"instance", fmt.Sprintf("10.0.%d.%d:10250", p.node/250, p.node%250),
		"job", "kubelet",
		"metrics_path", "/metrics/cadvisor",
		"name", id,
		"namespace", w.Namespace,
		"node", "node-"+strconv.Itoa(p.node),
		"pod", p.name,
		"service", "kubelet",
	)...)
}

// series writes the samples of the day, each `offset` milliseconds late, and the mark of the end when the series ends in it.
func (d *dayWriter) series(name labels.Labels, from, to, interval, offset int64, at func(int64) float64) error {
	var ref storage.SeriesRef
	var err error
	first := d.begin + max(0, (from-d.begin+interval-1)/interval)*interval
	for second := first; second < min(to, d.end); second += interval {
		if ref, err = d.appender.Append(ref, name, second*1000+offset, at(second)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err = d.count(); err != nil {
			return err
		}
	}
	gone := (to + interval - 1) / interval * interval
	if gone < d.begin || gone >= d.end || gone >= d.cluster.End {
		return nil
	}
	if _, err = d.appender.Append(ref, name, gone*1000+offset, math.Float64frombits(value.StaleNaN)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return d.count()
}

func (d *dayWriter) count() error {
	d.samples++
	d.pending++
	if d.pending < samplesPerCommit {
		return nil
	}
	if err := d.appender.Commit(); err != nil {
		return err
	}
	d.appender, d.pending = d.blocks.Appender(context.Background()), 0
	return nil
}
