// Package drill is fire drills: whom a plan drills and when, and what came of
// each. A drill is a test page to every phone of one person, at a time within
// agreed hours that nobody knows before. It is pure: who sends the pages and
// who keeps the results is the affair of others.
package drill
