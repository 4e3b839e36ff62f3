/* proxy.c: a TCP proxy on 127.0.0.1 that breaks links on command, for tests of what a lost link does.
 *
 *   lunadex-proxy TARGET-PORT
 *
 * Prints "port N" and then reads commands from standard input, one a line; each is answered by "done COUNT", the number
 * of links it was about. It ends with its input.
 *
 *   cut WHO       both ends are closed
 *   reset WHO     the same with RST
 *   stall WHO     nothing is passed on any more, in either direction; both ends think that the other is slow
 *   resume WHO    what was stalled goes on
 *   trap HOW before|after TEXT
 *                 the next link on which the client sends TEXT is cut, reset or stalled (HOW) before or after that was
 *                 passed on; prints "fired PORT" when it happens; traps wait for each other, in order
 *   refuse on|off new links are closed at once
 *
 * WHO is `all` (with new ones, for stall), or the port from which this proxy talks to the server: client_port in
 * pg_stat_activity.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINKS = 200, CHUNK = 65536, LINE = 1024, TRAPS = 16 };

typedef struct flow {
  int client, server; /* -1: the slot is free */
  unsigned port;      /* of our end towards the server */
  bool stalled;
  char *held; /* what the client sent when a trap stalled it before it was passed on */
  size_t held_length;
} flow;

static flow links[LINKS];
static in_port_t target;
static bool refusing, all_stalled;
static struct trap { char how[16], when[16], text[LINE]; } traps[TRAPS];
static unsigned trap_at, trap_count; /* the next to fire, and behind the last */

static struct sockaddr_in local(in_port_t port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void say(const char *what, unsigned number) {
  printf("%s %u\n", what, number);
  fflush(stdout);
}

static void close_socket(int fd, bool reset) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(fd);
}

static void close_link(flow *l, bool reset) {
  close_socket(l->client, reset);
  close_socket(l->server, reset);
  free(l->held);
  *l = (flow){.client = -1, .server = -1};
}

static bool pass_on(int to, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(to, bytes, length, MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes += n;
    length -= (size_t)n;
  }
  return true;
}

static void act(flow *l, const char *how) {
  if (!strcmp(how, "stall"))
    l->stalled = true;
  else
    close_link(l, !strcmp(how, "reset"));
}

static void accept_one(int listener) {
  int client = accept(listener, NULL, NULL);
  if (client < 0) return;
  flow *free_one = NULL;
  for (int i = 0; i < LINKS && !free_one; i++)
    if (links[i].client < 0) free_one = &links[i];
  struct sockaddr_in address = local(target);
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (refusing || !free_one || connect(server, (struct sockaddr *)&address, sizeof address) < 0) {
    close(server);
    close_socket(client, true);
    return;
  }
  int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  socklen_t length = sizeof address;
  getsockname(server, (struct sockaddr *)&address, &length);
  *free_one = (flow){.client = client, .server = server, .port = ntohs(address.sin_port), .stalled = all_stalled};
}

static void from_server(flow *l) {
  static char bytes[CHUNK];
  ssize_t n = recv(l->server, bytes, sizeof bytes, 0);
  if (n <= 0 || !pass_on(l->client, bytes, (size_t)n)) close_link(l, n < 0);
}

static void from_client(flow *l) {
  static char bytes[CHUNK];
  ssize_t n = recv(l->client, bytes, sizeof bytes, 0);
  if (n <= 0) {
    close_link(l, n < 0);
    return;
  }
  const struct trap *trap = &traps[trap_at % TRAPS];
  bool trapped = trap_at < trap_count && memmem(bytes, (size_t)n, trap->text, strlen(trap->text));
  bool before = trapped && !strcmp(trap->when, "before");
  unsigned port = l->port;
  if (trapped) trap_at++;
  if (before && !strcmp(trap->how, "stall")) {
    l->held = malloc((size_t)n);
    if (!l->held) abort();
    memcpy(l->held, bytes, (size_t)n);
    l->held_length = (size_t)n;
  } else if (!before && !pass_on(l->server, bytes, (size_t)n)) {
    close_link(l, false);
    return;
  }
  if (trapped) {
    act(l, trap->how);
    say("fired", port);
  }
}

static void resume(flow *l) {
  l->stalled = false;
  if (l->held && !pass_on(l->server, l->held, l->held_length)) {
    close_link(l, false);
    return;
  }
  free(l->held);
  l->held = NULL;
}

static void command(const char *line) {
  char verb[16] = "", who[16] = "";
  struct trap *trap = &traps[trap_count % TRAPS];
  if (sscanf(line, "trap %15s %15s %1023[^\n]", trap->how, trap->when, trap->text) == 3) {
    trap_count++;
    say("done", 1);
    return;
  }
  if (sscanf(line, "%15s %15s", verb, who) != 2) return;
  if (!strcmp(verb, "refuse")) {
    refusing = !strcmp(who, "on");
    say("done", 1);
    return;
  }
  bool all = !strcmp(who, "all");
  unsigned count = 0, port = (unsigned)strtoul(who, NULL, 10);
  if (all && !strcmp(verb, "stall")) all_stalled = true;
  if (all && !strcmp(verb, "resume")) all_stalled = false;
  for (int i = 0; i < LINKS; i++) {
    if (links[i].client < 0 || (!all && links[i].port != port)) continue;
    count++;
    if (!strcmp(verb, "resume"))
      resume(&links[i]);
    else
      act(&links[i], verb);
  }
  say("done", count);
}

/* False: the input has ended. */
static bool read_commands(void) {
  static char input[4 * LINE];
  static size_t length;
  ssize_t n = read(STDIN_FILENO, input + length, sizeof input - 1 - length);
  if (n <= 0) return false;
  length += (size_t)n;
  input[length] = '\0';
  char *line = input;
  for (char *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = '\0';
    command(line);
  }
  length = strlen(line);
  memmove(input, line, length + 1);
  return length < sizeof input - 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return 64;
  signal(SIGINT, SIG_IGN); /* a Ctrl-C is for the test, whose end is ours */
  target = htons((in_port_t)atoi(argv[1]));
  for (int i = 0; i < LINKS; i++) links[i].client = links[i].server = -1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = local(0);
  socklen_t address_length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0) return 1;
  getsockname(listener, (struct sockaddr *)&address, &address_length);
  say("port", ntohs(address.sin_port));

  for (;;) {
    struct pollfd fds[2 + 2 * LINKS] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    for (int i = 0; i < LINKS; i++) {
      /* A stalled link is not even looked at: that one end has hung up is for the other to find out later. */
      bool open = links[i].client >= 0 && !links[i].stalled;
      fds[2 + 2 * i] = (struct pollfd){.fd = open ? links[i].client : -1, .events = POLLIN};
      fds[3 + 2 * i] = (struct pollfd){.fd = open ? links[i].server : -1, .events = POLLIN};
    }
    if (poll(fds, sizeof fds / sizeof *fds, -1) < 0 && errno != EINTR) return 1;
    /* A link may be gone, or its slot taken by another, after each of these. */
    for (int i = 0; i < LINKS; i++) {
      if (fds[2 + 2 * i].revents && links[i].client == fds[2 + 2 * i].fd) from_client(&links[i]);
      if (fds[3 + 2 * i].revents && links[i].server == fds[3 + 2 * i].fd) from_server(&links[i]);
    }
    if (fds[0].revents && !read_commands()) return 0;
    if (fds[1].revents) accept_one(listener);
  }
}
