// Ctrl-C (SIGINT) and SIGTERM as a flag that long loops look at between steps; a second one quits at once.
#pragma once

namespace tw {

void catch_interrupts();  // call once, before the loop
bool interrupted();

}  // namespace tw
