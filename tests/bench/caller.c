/*
 * Starts plugins as a runtime does, and tells how long they took: the bench itself would cost more
 * than what it measures. Reads jobs from stdin:
 *
 *   COUNT STEPS WATCH, then COUNT * STEPS lines PROGRAM STDIN ENVIRONMENT (files)
 *
 * runs COUNT chains at once, each its STEPS one after the other, and prints a line
 *
 *   TOTAL_US FAILED PEAK_KIB, then COUNT times the microseconds until a chain was done
 *
 * PEAK_KIB is the largest sum of the resident memory of all processes that began after the job,
 * whoever started them; with WATCH 0 nobody looks. Looking slows the job down.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PIDS = 1 << 22 };

struct step {
  char program[512], input[512], *env[64];
};

static atomic_int watching;
static long peak;
static unsigned char older[MOST_PIDS / 8];

static long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Resident pages of the processes that are not in `older`; or puts all that there are into it. */
static long look(int note) {
  long pages = 0;
  DIR *proc = opendir("/proc");
  for (struct dirent *entry; proc && (entry = readdir(proc));) {
    int pid = atoi(entry->d_name);
    if (pid <= 0 || pid >= MOST_PIDS) continue;
    if (note) {
      older[pid / 8] |= (unsigned char)(1 << pid % 8);
      continue;
    }
    if (older[pid / 8] >> pid % 8 & 1) continue;
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) continue;
    long n = read(fd, text, sizeof text - 1), resident = 0;
    close(fd);
    if (n > 0 && (text[n] = 0, sscanf(text, "%*d %ld", &resident) == 1)) pages += resident;
  }
  if (proc) closedir(proc);
  return pages;
}

static void *watch(void *unused) {
  (void)unused;
  while (watching) {
    long pages = look(0);
    if (pages > peak) peak = pages;
    usleep(200);
  }
  return 0;
}

static void load(struct step *step, const char *file) {
  char line[4096];
  int n = 0;
  FILE *f = fopen(file, "r");
  if (!f) abort();
  while (n < 63 && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    step->env[n++] = strdup(line);
  }
  step->env[n] = 0;
  fclose(f);
}

static void unload(struct step *step) {
  for (int n = 0; step->env[n]; n++) free(step->env[n]);
}

static pid_t start(struct step *step) {
  char *argv[] = {step->program, 0};
  pid_t pid = vfork();
  if (pid != 0) return pid;
  int in = open(step->input, O_RDONLY), out = open("/dev/null", O_WRONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(out, 2);
  execve(step->program, argv, step->env);
  _exit(127);
}

int main(void) {
  int count, steps, look_on;
  while (scanf("%d %d %d", &count, &steps, &look_on) == 3) {
    struct step *all = calloc((size_t)(count * steps), sizeof *all);
    pid_t *running = calloc((size_t)count, sizeof *running);
    int *next = calloc((size_t)count, sizeof *next);
    long *took = calloc((size_t)count, sizeof *took);
    for (int i = 0; i < count * steps; i++) {
      char env[512];
      if (scanf("%511s %511s %511s", all[i].program, all[i].input, env) != 3) return 1;
      load(&all[i], env);
    }
    pthread_t watcher;
    peak = 0;
    if (look_on) {
      memset(older, 0, sizeof older);
      look(1);
      watching = 1;
      pthread_create(&watcher, 0, watch, 0);
    }
    int failed = 0, left = count;
    long began = now();
    for (int i = 0; i < count; i++) running[i] = start(&all[i * steps + next[i]++]);
    while (left > 0) {
      int status;
      pid_t pid = wait(&status);
      if (status != 0) failed++;
      for (int i = 0; i < count; i++) {
        if (running[i] != pid) continue;
        if (next[i] < steps) running[i] = start(&all[i * steps + next[i]++]);
        else left--, running[i] = 0, took[i] = now() - began;
        break;
      }
    }
    long total = now() - began;
    if (look_on) {
      watching = 0;
      pthread_join(watcher, 0);
    }
    printf("%ld %d %ld", total, failed, peak * (sysconf(_SC_PAGESIZE) / 1024));
    for (int i = 0; i < count; i++) printf(" %ld", took[i]);
    putchar('\n');
    fflush(stdout);
    for (int i = 0; i < count * steps; i++) unload(&all[i]);
    free(all), free(running), free(next), free(took);
  }
}
