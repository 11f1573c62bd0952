// pid 1 of a container with "init: true": passes signals on to its child and reaps what is left over.
// Signals arrive blocked (the mask survives execve(2)) and are taken one by one. No memory is written but the stack.
// Registers: w19 the child's pid. Calls: include/uapi/asm-generic/unistd.h.
        .globl  _start
        .text
_start:
        adr     x20, signals
        ldr     w19, [x20, 8]
wait_signal:
        mov     x0, x20                 // rt_sigtimedwait(set, NULL, NULL, 8)
        mov     x1, 0
        mov     x2, 0
        mov     x3, 8
        mov     x8, 137
        svc     0
        cmp     w0, 0
        b.lt    wait_signal             // EINTR
        cmp     w0, 17                  // SIGCHLD
        b.eq    reap
        mov     w1, w0
        mov     w0, w19
        mov     x8, 129                 // kill(child, signal)
        svc     0
        b       wait_signal
reap:
        mov     x0, -1                  // wait4(-1, &status, WNOHANG, NULL)
        sub     x1, sp, 16
        mov     x2, 1
        mov     x3, 0
        mov     x8, 260
        svc     0
        cmp     w0, 0
        b.le    wait_signal
        cmp     w0, w19
        b.ne    reap
        ldr     w1, [sp, -16]
        ands    w0, w1, 127             // the signal that ended it
        b.eq    exited
        add     w0, w0, 128
        b       leave
exited:
        ubfx    w0, w1, 8, 8
leave:
        mov     x8, 94                  // exit_group(code)
        svc     0
        .balign 8
signals:
        .quad   0                       // the set to wait for, as sigset_t of the kernel
child:
        .quad   0                       // the pid of the program
