package main

import (
	"fmt"
	"math"
	"sort"
)

const (
	containersPerNamespace = 100
	podsPerNode            = 40
	surgeSeconds           = 30

	medianCores       = 0.05
	medianMemoryBytes = 150 << 20
	oldestPodDays     = 30
)

var containerNames = []string{"app", "proxy", "agent"}

// Cluster is what runs: its workloads over the whole time of the history.
type Cluster struct {
	Settings
	Workloads []*Workload
	shapes    *shapes
	nodes     int
}

// Workload is a Deployment or a StatefulSet, as it is declared at the end of the history.
type Workload struct {
	Namespace  string       `json:"namespace"`
	Kind       string       `json:"kind"`
	Name       string       `json:"name"`
	Replicas   int          `json:"replicas"`
	Containers []*Container `json:"containers"`

	chance chance
}

// Container is declared with requests that people guessed: usually far too much, sometimes too little.
type Container struct {
	Name                 string `json:"name"`
	CPURequestMillicores int    `json:"cpuRequestMillicores"`
	MemoryRequestBytes   int    `json:"memoryRequestBytes"`
	CPULimited           bool   `json:"cpuLimited"`

	cores       float64
	memoryBytes float64
}

// pod lives from `from` to `to` (unix seconds, the end not included). `age` is how long it had run when the history began.
type pod struct {
	name, uid, ownerKind, ownerName string
	replica, node                   int
	from, to, age                   int64
	chance                          chance
}

// replicaSet is known from `from` on, to the end.
type replicaSet struct {
	name string
	from int64
}

func newCluster(settings Settings) *Cluster {
	root := chance(mix(settings.Seed))
	cluster := &Cluster{Settings: settings, shapes: newShapes(root.at(1), settings.ScrapeSeconds)}
	pods := 0
	for running := 0; running < settings.Containers; {
		number := len(cluster.Workloads)
		workload := newWorkload(root.at(2, number), settings.Containers-running, settings.MostReplicas)
		workload.Namespace = fmt.Sprintf("team-%03d", running/containersPerNamespace)
		workload.Name = fmt.Sprintf("%s-%04d", []string{"web", "api", "worker", "cache"}[number%4], number)
		cluster.Workloads = append(cluster.Workloads, workload)
		running += workload.Replicas * len(workload.Containers)
		pods += workload.Replicas
	}
	cluster.nodes = 1 + pods/podsPerNode
	return cluster
}

func newWorkload(c chance, room, mostReplicas int) *Workload {
	workload := &Workload{Kind: "Deployment", Replicas: 1 + c.at(0).below(mostReplicas), chance: c}
	if c.at(1).share() < 0.15 {
		workload.Kind = "StatefulSet"
	}
	count := 1 + c.at(2).below(len(containerNames))
	if workload.Replicas*count > room {
		workload.Replicas, count = 1, min(count, room)
	}
	for i := range count {
		workload.Containers = append(workload.Containers, newContainer(containerNames[i], c.at(3, i)))
	}
	return workload
}

func newContainer(name string, c chance) *Container {
	cores, memory := medianCores*c.at(0).spread(1.2), medianMemoryBytes*c.at(1).spread(1)
	return &Container{
		Name:                 name,
		CPURequestMillicores: max(10, int(math.Round(cores*1000*2*c.at(2).spread(0.7)/10))*10),
		MemoryRequestBytes:   max(16, int(memory*1.8*c.at(3).spread(0.4))>>20) << 20,
		CPULimited:           c.at(4).share() < 0.1,
		cores:                cores,
		memoryBytes:          memory,
	}
}

// replacement is a moment at which a replica gets a new pod: all replicas one after the other with a new template, or one alone.
type replacement struct {
	at         int64
	generation int
}

// lives gives every pod that the workload had, and its ReplicaSets. Half of the churn comes from new templates, half from single pods
// (a node that is drained).
func (k *Cluster) lives(w *Workload) ([]pod, []replicaSet) {
	rollouts := k.moments(w.chance.at(10))
	var pods []pod
	for replica := range w.Replicas {
		var events []replacement
		for i, at := range rollouts {
			events = append(events, replacement{at + int64(replica)*2*surgeSeconds, i + 1})
		}
		for _, at := range k.moments(w.chance.at(11, replica)) {
			events = append(events, replacement{at, sort.Search(len(rollouts), func(i int) bool { return rollouts[i] > at })})
		}
		sort.Slice(events, func(i, j int) bool { return events[i].at < events[j].at })
		pods = append(pods, k.podsOf(w, replica, events)...)
	}
	if w.Kind != "Deployment" {
		return pods, nil
	}
	sets := []replicaSet{{w.replicaSetName(0), k.Begin()}}
	for i, at := range rollouts {
		sets = append(sets, replicaSet{w.replicaSetName(i + 1), at})
	}
	return pods, sets
}

// moments are at most one a day, on half of `Churn` of the days. None are near the edges of the history or of each other's surge.
func (k *Cluster) moments(c chance) []int64 {
	var found []int64
	for day := range k.Days {
		if c.at(day, 0).share() < k.Churn/2 {
			within := hourSeconds + c.at(day, 1).below(daySeconds-2*hourSeconds)
			found = append(found, k.Begin()+int64(day)*daySeconds+int64(within))
		}
	}
	return found
}

func (k *Cluster) podsOf(w *Workload, replica int, events []replacement) []pod {
	first := w.chance.at(12, replica)
	pods := []pod{k.newPod(w, replica, 0, 0)}
	pods[0].from, pods[0].age = k.Begin(), int64(first.below(oldestPodDays*daySeconds))
	for i, event := range events {
		last, next := &pods[len(pods)-1], k.newPod(w, replica, event.generation, i+1)
		if event.at < last.from+4*surgeSeconds {
			continue
		}
		// A Deployment starts the new pod before the old one ends; a StatefulSet, whose pods keep their names, cannot.
		next.from, last.to = event.at, event.at+surgeSeconds
		if w.Kind == "StatefulSet" {
			next.from, last.to = event.at+surgeSeconds, event.at
		}
		pods = append(pods, next)
	}
	pods[len(pods)-1].to = k.End
	return pods
}

func (k *Cluster) newPod(w *Workload, replica, generation, number int) pod {
	c := w.chance.at(13, replica, number)
	made := pod{
		name:      fmt.Sprintf("%s-%d", w.Name, replica),
		ownerKind: w.Kind,
		ownerName: w.Name,
		uid:       fmt.Sprintf("%s-%s-4%s-a%s-%s", c.at(0).hex(8), c.at(1).hex(4), c.at(2).hex(3), c.at(3).hex(3), c.at(4).hex(12)),
		replica:   replica,
		node:      c.at(5).below(k.nodes),
		chance:    c,
	}
	if w.Kind == "Deployment" {
		made.ownerKind, made.ownerName = "ReplicaSet", w.replicaSetName(generation)
		made.name = fmt.Sprintf("%s-%s", made.ownerName, c.at(6).letters(5))
	}
	return made
}

func (w *Workload) replicaSetName(generation int) string {
	return fmt.Sprintf("%s-%s", w.Name, w.chance.at(14, generation).letters(9))
}
