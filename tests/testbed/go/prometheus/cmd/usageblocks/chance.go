package main

import "math"

const (
	daySeconds  = 86_400
	hourSeconds = 3_600

	// Letters that Kubernetes draws names from: no vowels, so no words.
	nameLetters = "bcdfghjklmnpqrstvwxz2456789"
)

// chance is a place in a tree of random numbers: the same path from the same seed is the same number, in whatever order they are drawn.
type chance uint64

func (c chance) at(path ...int) chance {
	for _, step := range path {
		c = chance(mix(uint64(c) ^ (uint64(step)+1)*0x9e3779b97f4a7c15))
	}
	return c
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// share is uniform in [0, 1).
func (c chance) share() float64 { return float64(mix(uint64(c))>>11) / (1 << 53) }

// below is uniform in 0 .. n-1.
func (c chance) below(n int) int { return int(mix(uint64(c)) % uint64(n)) }

// normal has mean 0 and deviation 1.
func (c chance) normal() float64 {
	radius := math.Sqrt(-2 * math.Log(1-c.at(0).share()))
	return radius * math.Cos(2*math.Pi*c.at(1).share())
}

// spread multiplies a median: two thirds of the values lie within a factor of e^deviation around it.
func (c chance) spread(deviation float64) float64 { return math.Exp(deviation * c.normal()) }

func (c chance) letters(count int) string {
	text := make([]byte, count)
	for i := range text {
		text[i] = nameLetters[c.at(i).below(len(nameLetters))]
	}
	return string(text)
}

func (c chance) hex(count int) string {
	const digits = "0123456789abcdef"
	text := make([]byte, count)
	for i := range text {
		text[i] = digits[c.at(i).below(len(digits))]
	}
	return string(text)
}
