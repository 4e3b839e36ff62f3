# Turns SQL files into C, at build time:
#   cmake -DOUT=postgres_sql.c -DINPUT="/path/catalog.sql;…" -P embed.cmake     (also writes postgres_sql.h)
# Arrays of bytes rather than string literals, which C11 lets a compiler limit to 4095 characters.
cmake_minimum_required(VERSION 3.25) # a script has no project to take its policies from

# The text of an SQL file; as in psql, a line `\ir NAME` stands for another file, named from where the first one is.
function(expand file variable)
  file(READ ${file} text)
  get_filename_component(folder ${file} DIRECTORY)
  while(text MATCHES "(^|\n)\\\\ir ([a-z_/]+[.]sql)\n")
    set(line "\\ir ${CMAKE_MATCH_2}\n")
    expand(${folder}/${CMAKE_MATCH_2} part)
    string(REPLACE "${line}" "${part}" text "${text}")
  endwhile()
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

# Character literals, because `char` may be signed and 0xe2 would not fit.
function(bytes hex variable)
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," hex "${hex}")
  set(${variable} "${hex}" PARENT_SCOPE)
endfunction()

set(arrays "")
set(declarations "")
foreach(file IN LISTS INPUT)
  get_filename_component(name ${file} NAME_WE)
  string(MAKE_C_IDENTIFIER ${name} name)
  expand(${file} text)
  string(HEX "${text}" hex)
  bytes("${hex}" data)
  string(APPEND arrays "const char ldx_sql_${name}[] = {\n${data}0};\n")
  string(APPEND declarations "extern const char ldx_sql_${name}[];\n")
endforeach()
string(REGEX REPLACE "[.]c$" ".h" header ${OUT})
get_filename_component(include ${header} NAME)
file(WRITE ${header} "/* Made by core/embed.cmake from core/drivers/postgres/sql/. */
#ifndef LUNADEX_POSTGRES_SQL_H
#define LUNADEX_POSTGRES_SQL_H

${declarations}
#endif
")
file(WRITE ${OUT} "/* Made by core/embed.cmake. */\n#include \"${include}\"\n\n${arrays}")
