/* editor.c: a line editor on the terminal, by libedit: history, completion, pastes, resizing.
 *
 * libedit reads the keyboard through `read_key`, which also wakes for signals: ours, whose flag lua/host.c shows, end the
 * line; a terminal that changed its size, or a process that goes on after Ctrl-Z, has it drawn again. libedit's own
 * handlers (EL_SIGNAL) would send each signal to the whole process group.
 *
 * Nothing of Lua's is raised through libedit: completion runs protected, and allocates nothing before that.
 */
#include "lua/editor.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/buffer.h"
#include "base/signals.h"
#include "lua/userdata.h"

static const char class[] = "lunadex.Editor";

/* How terminals that were asked to mark what is pasted do it. */
static const char marks_on[] = "\033[?2004h", marks_off[] = "\033[?2004l";
static const char paste_begin[] = "\033[200~", paste_end[] = "\033[201~";

typedef struct editor {
  EditLine *line;
  History *history;
  const char *prompt;
  lua_State *L;     /* while it reads: whose function completes */
  ldx_buffer paste; /* what was pasted behind the first line: lines still to be given, from `paste_at` on */
  size_t paste_at;
  bool interrupted;
  bool reading;              /* and not to be touched meanwhile */
  unsigned char input[4096]; /* typed, not yet taken */
  size_t input_at, input_end;
} editor;

static volatile sig_atomic_t resized, continued;

static void note_signal(int signal) {
  if (signal == SIGWINCH)
    resized = 1;
  else
    continued = 1;
}

static const char *prompt_of(EditLine *line) {
  editor *e;
  el_get(line, EL_CLIENTDATA, &e);
  return e->prompt;
}

/* Goes on at `*column` of a line of so many columns; gives how many lines further the end of the text is. */
static int rows_of(const char *text, size_t length, int columns, int *column) {
  mbstate_t state = {0};
  int rows = 0;
  for (size_t at = 0; at < length;) {
    wchar_t c;
    size_t used = mbrtowc(&c, text + at, length - at, &state);
    if (used == 0 || used > length) break;
    at += used;
    int width = c == L'\n' ? columns - *column : wcwidth(c);
    *column += width < 0 ? 2 : width; /* of a control character its name is shown: ^A */
    rows += *column / columns;
    *column %= columns;
  }
  return rows;
}

/* Terminals that change their width break lines anew: the cursor is as far below the prompt as it would be had all been
 * written now. From there on it is drawn again. */
static void redraw(editor *e) {
  const LineInfo *info = el_line(e->line);
  struct winsize size = {0};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    int column = 0, rows = rows_of(e->prompt, strlen(e->prompt), size.ws_col, &column);
    rows += rows_of(info->buffer, (size_t)(info->cursor - info->buffer), size.ws_col, &column);
    if (rows > 0) printf("\033[%dA", rows);
    fputs("\r\033[J", stdout);
  }
  if (continued) { /* the shell has set the terminal as it likes it */
    el_set(e->line, EL_PREP_TERM, 0);
    el_set(e->line, EL_PREP_TERM, 1);
  }
  resized = continued = 0;
  el_resize(e->line);
  el_set(e->line, EL_REFRESH);
}

/* Waits for the keyboard. The two signals are let through only meanwhile (`edit`), so that none is slept through. */
static bool wait_for_key(editor *e) {
  struct pollfd waited[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = ldx_signals_descriptor(), .events = POLLIN}};
  sigset_t open;
  pthread_sigmask(SIG_BLOCK, NULL, &open);
  sigdelset(&open, SIGWINCH);
  sigdelset(&open, SIGCONT);
  for (;;) {
    if (ldx_signals_caught()) {
      ldx_signals_drain();
      e->interrupted = true;
      return false;
    }
    if (resized || continued) redraw(e);
    if (ppoll(waited, waited[1].fd < 0 ? 1 : 2, NULL, &open) < 0 && errno != EINTR) return false;
    if (waited[0].revents) return true;
  }
}

static bool read_byte(editor *e, unsigned char *byte) {
  if (e->input_at == e->input_end) {
    ssize_t count = wait_for_key(e) ? read(STDIN_FILENO, e->input, sizeof e->input) : 0;
    if (count <= 0) return false;
    e->input_at = 0;
    e->input_end = (size_t)count;
  }
  *byte = e->input[e->input_at++];
  return true;
}

/* One character; 1, or 0 at the end. */
static int read_key(EditLine *line, wchar_t *key) {
  editor *e;
  el_get(line, EL_CLIENTDATA, &e);
  mbstate_t state = {0};
  for (;;) {
    unsigned char byte;
    if (!read_byte(e, &byte)) return 0;
    size_t used = mbrtowc(key, (const char *)&byte, 1, &state);
    if (used == (size_t)-2) continue; /* more of it is to come */
    if (used == (size_t)-1) *key = L'?';
    return 1;
  }
}

/* libedit gives lines in bytes and takes characters. */
static int characters(const char *text, const char *end) {
  int count = 0;
  for (; text < end; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

static void move_to_end(EditLine *line) {
  const LineInfo *info = el_line(line);
  el_cursor(line, characters(info->cursor, info->lastchar));
}

/* Inserts text into the line, in pieces: libedit takes no more than its buffer holds at a time. */
static void insert(EditLine *line, const char *text) {
  for (const char *at = text, *end = text + strlen(text); at < end;) {
    char piece[256];
    size_t length = (size_t)(end - at) < sizeof piece ? (size_t)(end - at) : sizeof piece - 1;
    while (length > 1 && at[length] && ((unsigned char)at[length] & 0xc0) == 0x80) length--;
    memcpy(piece, at, length);
    piece[length] = '\0';
    if (el_insertstr(line, piece) != 0) return;
    at += length;
  }
}

/* Control characters in it would be commands of the editor. */
static void keep_printable(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < ' ') *text = ' ';
}

/* The terminal says that what follows is pasted. The first line goes where the cursor is, and is entered; the others are
 * given line by line (`take_paste`), and not drawn key by key. */
static unsigned char paste(EditLine *line, int key) {
  (void)key;
  editor *e;
  el_get(line, EL_CLIENTDATA, &e);
  ldx_buffer text;
  ldx_buffer_init(&text, NULL);
  size_t end = sizeof paste_end - 1;
  unsigned char byte;
  bool complete = false;
  while (!complete && read_byte(e, &byte)) {
    /* Terminals send the return key for the end of a line. */
    ldx_buffer_append_char(&text, (char)(byte == '\r' ? '\n' : byte ? byte : ' '));
    complete = text.length >= end && !memcmp(text.data + text.length - end, paste_end, end);
  }
  if (complete) {
    text.data[text.length - end] = '\0';
    char *rest = strchr(text.data, '\n');
    if (rest) {
      const LineInfo *info = el_line(line);
      int behind = characters(info->cursor, info->lastchar);
      ldx_buffer_append(&e->paste, rest + 1);
      ldx_buffer_append_bytes(&e->paste, info->cursor, (size_t)(info->lastchar - info->cursor));
      move_to_end(line);
      el_deletestr(line, behind);
      *rest = '\0';
    }
    keep_printable(text.data);
    insert(line, text.data);
    if (rest) el_push(line, "\n");
  }
  ldx_buffer_free(&text);
  return complete ? CC_REFRESH : CC_EOF;
}

/* Asks Lua, protected: the editor and what stands before the cursor are on the stack. Gives what is to be inserted, what is
 * to be shown, and how many characters give way to what is inserted; or nil. */
static int ask(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  lua_pushlstring(L, lua_touserdata(L, 2), (size_t)lua_tointeger(L, 3));
  lua_call(L, 1, 3);
  return 3;
}

static unsigned char complete(EditLine *line, int key) {
  (void)key;
  editor *e;
  el_get(line, EL_CLIENTDATA, &e);
  lua_State *L = e->L;
  const LineInfo *info = el_line(line);
  unsigned char answer = CC_REFRESH_BEEP;
  int top = lua_gettop(L);
  lua_pushcfunction(L, ask);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, (void *)info->buffer);
  lua_pushinteger(L, info->cursor - info->buffer);
  enum { INSERT = 1, SHOW, ERASE };
  bool ok = lua_pcall(L, 3, 3, 0) == LUA_OK;
  if (ok && lua_type(L, top + INSERT) == LUA_TSTRING) {
    el_deletestr(line, (int)lua_tointeger(L, top + ERASE));
    insert(line, lua_tostring(L, top + INSERT));
    answer = CC_REFRESH;
  }
  int shown = ok ? top + SHOW : -1; /* names to choose from; or what went wrong */
  if (lua_type(L, shown) == LUA_TSTRING) {
    fprintf(stdout, "\n%s\n", lua_tostring(L, shown));
    answer = CC_REDISPLAY;
  }
  lua_settop(L, top);
  return answer;
}

static editor *check(lua_State *L) {
  editor *e = luaL_checkudata(L, 1, class);
  luaL_argcheck(L, e->line, 1, "the editor is closed");
  luaL_argcheck(L, !e->reading, 1, "the editor is in use");
  return e;
}

/* The next line of what was pasted, if there is a whole one; what is left of it is as if typed. [-0, +(0|1), m] */
static bool take_paste(lua_State *L, editor *e) {
  char *text = ldx_buffer_string(&e->paste) + e->paste_at, *end = strchr(text, '\n');
  if (end) {
    lua_pushlstring(L, text, (size_t)(end - text));
    e->paste_at += (size_t)(end + 1 - text);
    return true;
  }
  if (*text) {
    keep_printable(text);
    el_push(e->line, text);
  }
  e->paste_at = 0;
  ldx_buffer_clear(&e->paste);
  return false;
}

/* What was typed or pasted meanwhile is not meant for what comes after an interruption. */
static void forget_input(editor *e) {
  el_reset(e->line);
  ldx_buffer_clear(&e->paste);
  e->paste_at = e->input_at = e->input_end = 0;
}

static const char *edit(editor *e, int *count) {
  struct sigaction before[2], action = {.sa_handler = note_signal};
  sigset_t blocked, mask;
  sigemptyset(&action.sa_mask);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGWINCH);
  sigaddset(&blocked, SIGCONT);
  pthread_sigmask(SIG_BLOCK, &blocked, &mask);
  sigaction(SIGWINCH, &action, &before[0]);
  sigaction(SIGCONT, &action, &before[1]);
  el_resize(e->line);
  fputs(marks_on, stdout);
  fflush(stdout);
  e->reading = true;
  const char *text = el_gets(e->line, count);
  e->reading = false;
  fputs(marks_off, stdout);
  sigaction(SIGWINCH, &before[0], NULL);
  sigaction(SIGCONT, &before[1], NULL);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  return text;
}

static int editor_read(lua_State *L) {
  editor *e = check(L);
  e->prompt = ldx_lua_check_text(L, 2);
  lua_settop(L, 2);
  e->L = L;
  e->interrupted = false;
  if (take_paste(L, e)) {
    fputs(e->prompt, stdout);
    for (const char *c = lua_tostring(L, -1); *c; c++) fputc((unsigned char)*c < ' ' && *c != '\t' ? ' ' : *c, stdout);
    fputc('\n', stdout);
    return 1;
  }
  int count = 0;
  const char *text = edit(e, &count);
  if (text && count > 0 && !e->interrupted) {
    fflush(stdout);
    lua_pushlstring(L, text, (size_t)count - (text[count - 1] == '\n'));
    return 1;
  }
  forget_input(e);
  fputs(e->interrupted ? "^C\n" : "\n", stdout);
  fflush(stdout);
  lua_pushnil(L);
  lua_pushstring(L, e->interrupted ? "interrupted" : "end");
  return 2;
}

static int editor_remember(lua_State *L) {
  editor *e = check(L);
  HistEvent event;
  history(e->history, &event, H_ENTER, ldx_lua_check_text(L, 2));
  return 0;
}

static int editor_close(lua_State *L) {
  editor *e = luaL_checkudata(L, 1, class);
  luaL_argcheck(L, !e->reading, 1, "the editor is in use");
  if (e->line) el_end(e->line);
  if (e->history) history_end(e->history);
  ldx_buffer_free(&e->paste);
  e->line = NULL;
  e->history = NULL;
  return 0;
}

int ldx_lua_editor(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return luaL_error(L, "a line editor needs a terminal");
  editor *e = ldx_lua_new(L, class, sizeof *e, 1);
  ldx_buffer_init(&e->paste, NULL);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  /* All text here is UTF-8, whatever the terminal's owner forgot to say. */
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
  HistEvent event;
  e->history = history_init();
  e->line = e->history ? el_init("lunadex", stdin, stdout, stderr) : NULL;
  if (!e->line) return luaL_error(L, "no line editor on this terminal");
  history(e->history, &event, H_SETSIZE, INT_MAX);
  el_set(e->line, EL_CLIENTDATA, e);
  el_set(e->line, EL_PROMPT, prompt_of);
  el_set(e->line, EL_EDITOR, "emacs");
  el_set(e->line, EL_HIST, history, e->history);
  el_set(e->line, EL_GETCFN, read_key);
  /* As wide strings: el_set would copy others, and lose the copies. */
  el_wset(e->line, EL_ADDFN, L"lunadex-complete", L"completes names", complete);
  el_wset(e->line, EL_ADDFN, L"lunadex-paste", L"takes what is pasted", paste);
  el_set(e->line, EL_BIND, "\t", "lunadex-complete", NULL);
  el_set(e->line, EL_BIND, paste_begin, "lunadex-paste", NULL);
  el_set(e->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
  el_set(e->line, EL_BIND, "\033[3~", "ed-delete-next-char", NULL);
  el_set(e->line, EL_BIND, "\033[1;5C", "em-next-word", NULL);
  el_set(e->line, EL_BIND, "\033[1;5D", "ed-prev-word", NULL);
  el_source(e->line, NULL); /* ~/.editrc */
  return 1;
}

void ldx_lua_open_editor(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", editor_close}, {"__close", editor_close}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"read", editor_read}, {"remember", editor_remember}, {"close", editor_close}, {NULL, NULL}};
  ldx_lua_class(L, class, meta, methods, NULL);
}
