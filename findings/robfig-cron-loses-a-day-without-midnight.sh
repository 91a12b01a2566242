#!/usr/bin/env bash
# github.com/robfig/cron/v3 3.0.1 (the parser and clock of Argo Workflows' and Argo Events' schedules), Go 1.26.
#
# Behaviour: on the day on which clocks go forward at midnight, so that the day has no 00:00, the search for the next
# time turns the page once too often: it passes by the next matching day as well. "Every Friday at noon" in Cairo
# (clocks change on the last Friday of April, 2027-04-30) is due on 23 April, then on 7 May: 30 April is lost, although
# noon of that day exists. Nothing is raised.
#
# Expected by a reader of crontab(5): 23 April, 30 April, 7 May.
# Needs: Go, and a registry of Go modules. Fails if the library's answer changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >go.mod <<'GO'
module finding

go 1.26

require github.com/robfig/cron/v3 v3.0.1
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

func main() {
	zone, err := time.LoadLocation("Africa/Cairo")
	if err != nil {
		panic(err)
	}
	schedule, err := cron.ParseStandard("0 12 * * 5")
	if err != nil {
		panic(err)
	}
	moment := time.Date(2027, time.April, 22, 0, 0, 0, 0, zone)
	for range 3 {
		moment = schedule.Next(moment)
		fmt.Println(moment.Format("2006-01-02 15:04 Mon"))
	}
	fmt.Println("noon of 30 April exists:", time.Date(2027, time.April, 30, 12, 0, 0, 0, zone).Format("2006-01-02 15:04 Mon"))
}
GO
go mod tidy >/dev/null 2>&1
seen=$(go run .)
echo "$seen"
wanted='2027-04-23 12:00 Fri
2027-05-07 12:00 Fri
2027-05-14 12:00 Fri
noon of 30 April exists: 2027-04-30 12:00 Fri'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
