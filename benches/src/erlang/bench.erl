%% The rows in Erlang/OTP: the same work, verified, and its figures. Started once a run: bench main WORD SIZE.
-module(bench).
-export([main/1, idle/0, init/1, crasher/1]).
-behaviour(supervisor).

%% A run repeats its work until it has measured for so long.
-define(MEASURED_MIN_NS, 400000000).

main([Word, Size]) ->
    N = list_to_integer(Size),
    Figures = run(Word, N),
    Texts = [float_to_list(F, [{decimals, 6}, compact]) || F <- Figures],
    io:format("figures [~s]~n", [lists:join(",", Texts)]),
    halt(0).

run("tell", N) -> [rate(N, fun() -> pour(1, N) end) / 1.0e6];
run("fan-in", N) -> [rate(8 * N, fun() -> pour(8, N) end) / 1.0e6];
run("call", N) -> [1.0e9 / rate(N, fun() -> ask(1, N) end)];
run("call-many", N) -> [rate(100 * N, fun() -> ask(100, N) end) / 1.0e6];
run("ring", N) -> [rate(1000 * N, fun() -> ring(1000, N) end) / 1.0e6];
run("spawn-stop", N) -> [rate(1000 * N, fun() -> waves(N) end) / 1.0e6];
run("idle-memory", N) ->
    Before = resident(),
    Pids = [spawn(fun ?MODULE:idle/0) || _ <- lists:seq(1, N)],
    N = length([P || P <- Pids, is_process_alive(P)]),
    [(resident() - Before) / N];
run("timer-insert", N) -> [rate(N, fun() -> element(1, timers(N)) end) / 1.0e6];
run("timer-cancel", N) -> [rate(N, fun() -> element(2, timers(N)) end) / 1.0e6];
run("timer-memory", N) ->
    {_, _, Bytes} = timers(N),
    [Bytes / N];
run("timer-lateness", N) -> lateness(N);
run("crash", N) -> [rate(N, fun() -> crash(N) end) / 1.0e3];
run("broadcast", N) -> broadcast(N);
run("registry", N) -> registry(N);
run("ping-under-flood", N) -> ping(N).

%% Operations a second; one turn before is not counted.
rate(Operations, Work) ->
    Work(),
    rate(Operations, Work, 0, 0).
rate(Operations, _, Turns, Took) when Turns > 0, Took >= ?MEASURED_MIN_NS ->
    Turns * Operations * 1.0e9 / Took;
rate(Operations, Work, Turns, Took) ->
    rate(Operations, Work, Turns + 1, Took + Work()).

now_ns() -> erlang:monotonic_time(nanosecond).

resident() ->
    {ok, Text} = file:read_file("/proc/self/smaps_rollup"),
    {match, [Kib]} = re:run(Text, "Rss:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

pour(Senders, Each) ->
    Me = self(),
    Sink = spawn_link(fun() -> Me ! {sum, sink(Senders * Each, 0)} end),
    Start = now_ns(),
    [spawn_link(fun() -> tell(Sink, Each - 1) end) || _ <- lists:seq(1, Senders)],
    Sum = Senders * (Each * (Each - 1) div 2),
    receive {sum, Sum} -> now_ns() - Start end.

sink(0, Sum) -> Sum;
sink(Left, Sum) -> receive Number -> sink(Left - 1, Sum + Number) end.

tell(_, -1) -> ok;
tell(Sink, Number) -> Sink ! Number, tell(Sink, Number - 1).

%% As gen_server:call: a monitor, a deadline, an answer.
ask(Callers, Each) ->
    Me = self(),
    Echo = spawn(fun echo/0),
    Start = now_ns(),
    [spawn_link(fun() -> Me ! {sum, calls(Echo, Each, 0)} end) || _ <- lists:seq(1, Callers)],
    Sums = [receive {sum, Sum} -> Sum end || _ <- lists:seq(1, Callers)],
    Took = now_ns() - Start,
    Expected = Callers * Each * (Each - 1),
    Expected = lists:sum(Sums),
    exit(Echo, kill),
    Took.

echo() -> receive {From, Ref, Number} -> From ! {Ref, Number * 2}, echo() end.

calls(_, 0, Sum) -> Sum;
calls(Echo, Left, Sum) -> calls(Echo, Left - 1, Sum + call(Echo, Left - 1)).

call(Echo, Number) ->
    Ref = monitor(process, Echo),
    Echo ! {self(), Ref, Number},
    receive
        {Ref, Double} -> demonitor(Ref, [flush]), Double
    after 5000 -> exit(timeout)
    end.

ring(Nodes, Laps) ->
    Me = self(),
    First = spawn_link(fun() -> receive {close, Next} -> node(Next, Me) end end),
    Last = lists:foldl(fun(_, Next) -> spawn_link(fun() -> node(Next, none) end) end, First, lists:seq(2, Nodes)),
    First ! {close, Last},
    Start = now_ns(),
    First ! Nodes * Laps,
    receive done -> ok end,
    Took = now_ns() - Start,
    First ! stop,
    Took.

node(Next, Done) ->
    receive
        0 -> Done ! done, node(Next, Done);
        stop -> Next ! stop;
        Hops -> Next ! Hops - 1, node(Next, Done)
    end.

waves(Waves) ->
    Start = now_ns(),
    [wave() || _ <- lists:seq(1, Waves)],
    now_ns() - Start.

wave() ->
    Me = self(),
    Pids = [spawn(fun() -> receive stop -> Me ! ended end end) || _ <- lists:seq(1, 1000)],
    [Pid ! stop || Pid <- Pids],
    [receive ended -> ok end || _ <- Pids].

idle() -> receive stop -> ok end.

timers(N) ->
    Target = spawn(fun ?MODULE:idle/0),
    rand:seed(exsss, 6),
    Delays = [60000 + rand:uniform(540000) || _ <- lists:seq(1, N)],
    Before = resident(),
    Start = now_ns(),
    Timers = [erlang:send_after(Delay, Target, 7) || Delay <- Delays],
    Insert = now_ns() - Start,
    Bytes = resident() - Before,
    Again = now_ns(),
    N = length([T || T <- Timers, is_integer(erlang:cancel_timer(T))]),
    Cancel = now_ns() - Again,
    exit(Target, kill),
    {Insert, Cancel, Bytes}.

lateness(N) ->
    Me = self(),
    rand:seed(exsss, 60),
    Target = spawn_link(fun() -> Me ! {late, late(N, [])} end),
    [set(rand:uniform(5000), Target) || _ <- lists:seq(1, N)],
    Late = receive {late, Seen} -> lists:sort(Seen) end,
    true = hd(Late) >= 0,
    [percentile(Late, P) / 1.0e6 || P <- [0.5, 0.99, 1.0]].

set(Delay, Target) ->
    Due = now_ns() + Delay * 1000000,
    erlang:send_after(Delay, Target, Due).

late(0, Seen) -> Seen;
late(Left, Seen) -> receive Due -> late(Left - 1, [now_ns() - Due | Seen]) end.

percentile(Sorted, Share) ->
    lists:nth(1 + round((length(Sorted) - 1) * Share), Sorted).

%% A permanent worker under a supervisor that counts restarts.
crash(Lives) ->
    Me = self(),
    logger:set_primary_config(level, none),
    Left = counters:new(1, []),
    counters:put(Left, 1, Lives),
    Start = now_ns(),
    {ok, Supervisor} = supervisor:start_link(?MODULE, {Left, Me}),
    receive last -> ok end,
    Took = now_ns() - Start,
    unlink(Supervisor),
    exit(Supervisor, kill),
    Took.

init(Args) ->
    Child = #{id => crasher, start => {?MODULE, crasher, [Args]}},
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1}, [Child]}}.

crasher({Left, Owner}) ->
    {ok, spawn_link(fun() -> life(Left, Owner) end)}.

life(Left, Owner) ->
    case counters:get(Left, 1) of
        0 -> Owner ! last, receive stop -> ok end;
        _ -> counters:sub(Left, 1, 1), self() ! crash, receive crash -> exit(as_it_was_told) end
    end.

broadcast(Members) ->
    Me = self(),
    Room = [spawn_link(fun() -> member(10, Me) end) || _ <- lists:seq(1, Members)],
    Frame = binary:copy(<<7>>, 512),
    Burst = fun() ->
        Start = now_ns(),
        [[Pid ! Frame || Pid <- Room] || _ <- lists:seq(1, 10)],
        [receive seen -> ok end || _ <- Room],
        now_ns() - Start
    end,
    [rate(10 * Members, Burst) / 1.0e6].

member(0, Owner) -> Owner ! seen, member(10, Owner);
member(Left, Owner) -> receive <<_/binary>> -> member(Left - 1, Owner) end.

registry(Names) ->
    Me = self(),
    Atoms = list_to_tuple([list_to_atom("process_" ++ integer_to_list(N)) || N <- lists:seq(1, Names)]),
    [register(element(N, Atoms), spawn(fun ?MODULE:idle/0)) || N <- lists:seq(1, Names)],
    Each = 200000,
    Look = fun() ->
        Start = now_ns(),
        [spawn_link(fun() -> look(Atoms, Names, Each), Me ! looked end) || _ <- [1, 2]],
        [receive looked -> ok end || _ <- [1, 2]],
        now_ns() - Start
    end,
    [rate(2 * Each, Look) / 1.0e6].

look(_, _, 0) -> ok;
look(Atoms, Names, Left) ->
    true = is_pid(whereis(element(rand:uniform(Names), Atoms))),
    look(Atoms, Names, Left - 1).

ping(Pings) ->
    Echo = spawn(fun echo/0),
    [begin Pid = spawn(fun flooded/0), [Pid ! M || M <- lists:seq(1, 1000)] end || _ <- lists:seq(1, 4)],
    Took = lists:sort([ping_once(Echo, Number) || Number <- lists:seq(1, Pings)]),
    [percentile(Took, P) / 1.0e3 || P <- [0.5, 0.99]].

ping_once(Echo, Number) ->
    Start = now_ns(),
    Double = call(Echo, Number),
    Took = now_ns() - Start,
    Double = Number * 2,
    Took.

flooded() -> receive Message -> self() ! Message, flooded() end.
