"""Samplers. Which test holds which of the exact properties of causal, rolling and windowed sampling, or why none does.

On random-weight VideoDiTs: models/. On denoisers whose answer is known: samplers/. test_properties.py holds this table.

P1  cached rollout == one block-causal pass         models/test_context_properties.py::test_p1_p7_a_cached_rollout_is_one_block_causal_teacher_forcing_pass
P2  rolling window == banded mask                   models/test_context_properties.py::test_p2_p3_window_and_sink_are_their_mask
P3  window and sink == mask                         models/test_context_properties.py::test_p2_p3_window_and_sink_are_their_mask
P4  where position schemes agree                    models/test_context_properties.py::test_p4_cache_relative_positions_matter_once_something_behind_a_sink_is_gone
                                                    samplers/test_positions.py::test_p4_cache_positions_are_those_of_a_moved_sink_up_to_a_shift
                                                    samplers/test_positions.py::test_p4_a_moved_sink_stands_where_it_is_until_something_leaves
                                                    samplers/test_positions.py::test_p4_without_a_sink_all_schemes_agree_on_distances
P5  recache == fresh rollout of the window          models/test_context_properties.py::test_p5_recaching_is_a_fresh_rollout_of_the_window_and_not_the_rolled_cache
                                                    samplers/test_context.py::test_p5_recaching_is_a_fresh_rollout_of_the_last_frames_under_the_new_prompt
P6  positions may be shifted                        models/test_context_properties.py::test_p6_only_differences_of_positions_count
P7  teacher forcing == cached rollout               models/test_context_properties.py::test_p1_p7_a_cached_rollout_is_one_block_causal_teacher_forcing_pass
P8  later blocks change nothing                     models/test_context_properties.py::test_p8_later_blocks_change_nothing_and_blocks_are_those_of_the_clip
P9  windows of all and of one block                 models/test_context_properties.py::test_p9_a_window_of_all_is_no_window_and_of_a_block_no_memory
P10 given latents fill a cache as generated ones    models/test_context_properties.py::test_p10_given_latents_fill_the_cache_as_generated_ones_do
P11 batch == its items, guidance == two branches    models/test_context_properties.py::test_p11_a_batch_is_its_items
                                                    models/test_context_properties.py::test_p11_guidance_with_two_caches_is_guidance_over_a_batch
                                                    samplers/test_guidance.py::test_p11_two_equal_branches_are_one
                                                    samplers/test_guidance.py::test_p11_memories_do_not_mix
P12 cache slots in any order                        models/test_context_properties.py::test_p12_slots_in_any_order_attend_alike
P13 sparse at density 1 == dense                    models/test_context_properties.py::test_p13_a_pattern_that_keeps_all_is_dense_in_every_window
                                                    models/test_context_properties.py::test_p13_a_pattern_within_a_causal_mask_keeps_what_both_keep
P14 closed form == iterative; lag 0 and lag S       samplers/test_published.py::test_p14_ar_diffusion
                                                    samplers/test_published.py::test_p14_p15_full_sequence_is_lag_0_and_autoregressive_is_lag_s
                                                    samplers/test_rollout.py::test_p14_lag_0_is_the_ordinary_sampler
                                                    samplers/test_rollout.py::test_p14_lag_s_is_one_block_after_the_other
                                                    (a lag above S is refused)
P15 published level tables                          samplers/test_published.py::test_p15_diffusion_forcing_pyramid
                                                    samplers/test_published.py::test_p15_diffusion_forcing_trapezoid
                                                    samplers/test_published.py::test_p15_skyreels_asynchronous
                                                    samplers/test_published.py::test_p15_self_forcing
                                                    samplers/test_published.py::test_p15_rolling_forcing
                                                    samplers/test_published.py::test_p15_magi
                                                    samplers/test_published.py::test_p15_fifo
                                                    samplers/test_published.py::test_p15_temporal_in_context
                                                    samplers/test_published.py::test_p15_freeinit
P16 S updates each, falling; who is in sight        samplers/test_schedules.py::test_a_block_of_a_pyramid_falls_one_level_at_a_time
                                                    samplers/test_schedules.py::test_every_frame_falls_to_zero_from_where_it_stood
                                                    samplers/test_schedules.py::test_p16_a_step_shows_every_block_under_way_and_few_others
P17 frames left alone keep their bits               samplers/test_rollout.py::test_p17_frames_that_a_step_leaves_alone_keep_their_bits
                                                    samplers/test_solvers.py::test_p17_a_solver_leaves_frames_alone_that_do_not_fall
P18 known blocks leave the rest as it is            samplers/test_schedules.py::test_p18_known_blocks_leave_the_schedule_of_the_rest
                                                    samplers/test_rollout.py::test_p18_known_frames_leave_the_others_as_they_would_be
P19 recomputed == cached, step for step             samplers/test_context.py::test_p19_a_cache_is_the_clean_frames_shown_again
                                                    models/test_context_properties.py::test_p1_refed_clean_frames_under_the_mask_are_the_cache
P20 known answers                                   samplers/test_rollout.py::test_p20_a_denoiser_that_knows_the_answer_gives_it
                                                    samplers/test_rollout.py::test_p20_each_frame_falls_as_if_it_were_alone
                                                    samplers/test_rollout.py::test_p20_a_ramp_starts_from_the_known_frame_at_its_own_noise
                                                    samplers/test_rollout.py::test_p20_a_repeated_fall_starts_from_the_clip_under_new_noise
                                                    samplers/test_rollout.py::test_p20_a_queue_starts_from_a_clip_under_noise_by_place
                                                    samplers/test_windows.py::test_p20_syncos_ends_at_the_answer
P21 longer clips begin alike; 10 and 10 are 20      samplers/test_context.py::test_p21a_the_first_blocks_do_not_depend_on_how_many_follow
                                                    samplers/test_state.py::test_p21b_ten_frames_and_then_ten_more_are_twenty
P22 FreeNoise's shuffles                            samplers/test_noise.py::test_rescheduled_noise_permutes_the_base_in_every_aligned_window
                                                    samplers/test_noise.py::test_rescheduled_noise_is_that_of_its_base_frame
P23 frequency filters                               samplers/test_frequency.py::test_mixing_keeps_to_its_ends
                                                    samplers/test_frequency.py::test_mixing_is_linear_and_real
P24 progressive noise                               samplers/test_noise.py::test_progressive_noise_without_its_past_is_independent
                                                    samplers/test_noise.py::test_progressive_noise_keeps_unit_variance
P25 solvers == diffusers' steps                     samplers/test_solvers.py::test_p25_euler_equals_stock_euler
                                                    samplers/test_solvers.py::test_p25_renoise_equals_stock_lcm
                                                    samplers/test_solvers.py::test_p25_multistep_equals_stock_unipc
                                                    samplers/test_solvers.py::test_p25_a_step_to_no_noise_is_the_prediction
P26 caps of 1 and of 0                              samplers/test_published.py::test_p26_a_ramp_at_full_noise_is_none_and_at_no_noise_never_changes
P27 one window == plain; partition of unity         attention/test_fusion.py::test_one_window_is_the_inner_attention
                                                    attention/test_fusion.py::test_shares_add_up_and_windows_cover_all
                                                    attention/test_fusion.py::test_constant_values_stay
                                                    samplers/test_windows.py::test_p27_one_window_over_the_whole_clip_is_the_model_itself
                                                    samplers/test_windows.py::test_p27_what_is_constant_stays_constant
P28 windows side by side are clips of their own     samplers/test_windows.py::test_p28_windows_side_by_side_are_clips_of_their_own
                                                    (fusing before or after an affine projection: follows from P27's shares, which add up to 1)
P29 queue == pyramid; lookahead of lone frames      samplers/test_schedules.py::test_p29_a_queue_in_one_part_is_a_pyramid
                                                    samplers/test_rollout.py::test_p29_looking_ahead_changes_nothing_where_frames_do_not_see_each_other
P30 Video-Infinity                                  left out: clips are not spread over devices
P31 RIFLEx below its period                         models/test_rope.py::test_p31_one_frequency_falls_only_where_the_clip_is_longer_than_its_period
                                                    models/test_rope.py::test_p31_in_the_model
                                                    (FreeLong: left out, there is none)
P32 FoPP's counts and draws                         samplers/test_fopp.py::test_counts_equal_enumeration
                                                    samplers/test_fopp.py::test_probabilities_sum_to_one_and_match_draws
                                                    samplers/test_fopp.py::test_never_falls_and_stays_in_range
P33 saved and resumed == uninterrupted              samplers/test_state.py::test_p33_a_run_goes_on_from_any_move_to_the_last_bit
                                                    samplers/test_state.py::test_p33_every_schedule_can_be_cut
                                                    samplers/test_state.py::test_p33_noise_that_depends_on_the_frame_in_front_comes_back
P34 forks                                           samplers/test_state.py::test_p34_forks_are_equal_and_leave_the_parent_alone
                                                    models/test_context_properties.py::test_p34_forks_go_on_alike_and_leave_the_parent_alone
P35 a change to the same prompt                     samplers/test_context.py::test_p35_a_change_to_the_same_prompt_is_none
                                                    models/test_context_properties.py::test_p35_a_change_to_the_same_prompt_is_none
P36 streaming decode == full decode                 models/test_vae.py::test_p36_any_portions_equal_the_full_decode
P37 lengths round up, no tail is dropped            models/test_vae.py::test_p37_lengths_round_up_and_back
                                                    samplers/test_published.py::test_p37_all_frames_of_a_ragged_length_are_made_once_it_is_rounded_up
                                                    samplers/test_schedules.py::test_frames_are_finished_once_in_order_and_left_alone
                                                    samplers/test_schedules.py::test_p37_a_tail_that_fills_no_block_is_refused_and_not_dropped
"""  # noqa: E501
