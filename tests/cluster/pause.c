/* The first process of every pod: it holds the pod's namespaces, waits for the end, and reaps orphans until then. */

#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
    sigset_t signals;
    int signal;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* process 1 is sent no signal that it neither blocks nor handles */
    while (sigwait(&signals, &signal) == 0 && signal == SIGCHLD)
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    return 0;
}
