package main

import "math"

const (
	patterns  = 64
	pageBytes = 4096
)

// shapes are prepared hours: values around 1 for each scrape of an hour, and how much of the hour's work is done before each scrape.
// Usage is put together from them, so that a sample costs one multiplication and any time can be asked for.
type shapes struct {
	scrape int64
	noise  [patterns][]float64
	done   [patterns][]float64
	day    [24]float64
}

func newShapes(c chance, scrapeSeconds int64) *shapes {
	made := &shapes{scrape: scrapeSeconds}
	steps := int(hourSeconds / scrapeSeconds)
	for p := range patterns {
		noise, done, sum := make([]float64, steps), make([]float64, steps), 0.0
		for i := range noise {
			noise[i] = c.at(p, i).spread(0.4)
			sum += noise[i]
		}
		before := 0.0
		for i := range noise {
			done[i] = before / sum
			before += noise[i]
			noise[i] *= float64(steps) / sum
		}
		made.noise[p], made.done[p] = noise, done
	}
	for hour := range made.day {
		made.day[hour] = math.Sin(2 * math.Pi * float64(hour) / 24)
	}
	return made
}

// usage is what one container of one replica uses over the whole history, whichever pod it is in. Hours count from its beginning.
type usage struct {
	shapes *shapes
	begin  int64
	phase  int
	chance chance
	rate   []float64 // cores, by hour
	worked []float64 // core seconds, before each hour
	memory float64
}

func (k *Cluster) usageOf(w *Workload, replica, number int) *usage {
	container, c := w.Containers[number], w.chance.at(20, number)
	hours := k.Days * 24
	made := &usage{
		shapes: k.shapes,
		begin:  k.Begin(),
		phase:  c.at(0).below(24),
		chance: c.at(1, replica),
		rate:   make([]float64, hours),
		worked: make([]float64, hours+1),
		memory: container.memoryBytes,
	}
	swing := 0.6 * c.at(2).share()
	for hour := range hours {
		made.rate[hour] = container.cores * (1 + swing*made.sine(hour)) * made.unrest(hour)
		made.worked[hour+1] = made.worked[hour] + made.rate[hour]*hourSeconds
	}
	return made
}

func (u *usage) sine(hour int) float64 { return u.shapes.day[(hour+u.phase)%24] }

// unrest differs from hour to hour; one in fifty is a burst.
func (u *usage) unrest(hour int) float64 {
	c := u.chance.at(hour)
	if c.at(0).share() < 0.02 {
		return 2.5
	}
	return 0.8 + 0.4*c.at(1).share()
}

func (u *usage) place(at int64) (hour, step, pattern int) {
	since := at - u.begin
	hour, step = int(since/hourSeconds), int(since%hourSeconds/u.shapes.scrape)
	return hour, step, u.chance.at(hour, 2).below(patterns)
}

// coreSeconds is the work done from the beginning of the history until the scrape at or before `at`.
func (u *usage) coreSeconds(at int64) float64 {
	hour, step, pattern := u.place(at)
	if hour == len(u.rate) {
		return u.worked[hour]
	}
	return u.worked[hour] + u.rate[hour]*hourSeconds*u.shapes.done[pattern][step]
}

// workingSet in bytes, of a pod that has run for `age` seconds: whole pages, less in the first minutes, and slowly growing.
func (u *usage) workingSet(at, age int64) float64 {
	hour, step, pattern := u.place(at)
	wave := 1 + 0.1*u.sine(hour) + 0.1*(u.shapes.noise[(pattern+7)%patterns][step]-1)
	warm := min(1, 0.6+0.4*float64(age)/600)
	grown := 1 + 0.01*float64(min(age, 7*daySeconds))/daySeconds
	return math.Floor(u.memory*wave*warm*grown/pageBytes) * pageBytes
}
